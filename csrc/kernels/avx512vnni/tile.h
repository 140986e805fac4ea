/* One step of a tile of up to 14 pixels by 32 or 16 channels, spelt out for the compiler: the file
 * that includes this brings STEP2 and STEP1, which multiply one pixel in assembly, and has a, a3,
 * a6, a9 and a12 point at pixels 0, 3, ... 12, `lda` elements from one to the next. */
#ifndef EI_AVX512_TILE_H
#define EI_AVX512_TILE_H

#define EI_ROW(a, address, i)                                                                      \
    if (rows > (i)) {                                                                              \
        if (wide)                                                                                  \
            STEP2(a, address, acc0[i], acc1[i]);                                                   \
        else                                                                                       \
            STEP1(a, address, acc0[i]);                                                            \
    }

/* `one` and `two`: what scales an index register to one and to two times lda in bytes. */
#define EI_ROWS3(a, i, one, two)                                                                   \
    EI_ROW(a, "(%[p])", i)                                                                         \
    EI_ROW(a, "(%[p],%[l]," one ")", i + 1)                                                        \
    EI_ROW(a, "(%[p],%[l]," two ")", i + 2)

#define EI_ROWS14(one, two)                                                                        \
    EI_ROWS3(a, 0, one, two)                                                                       \
    EI_ROWS3(a3, 3, one, two)                                                                      \
    EI_ROWS3(a6, 6, one, two)                                                                      \
    EI_ROWS3(a9, 9, one, two)                                                                      \
    EI_ROW(a12, "(%[p])", 12)                                                                      \
    EI_ROW(a12, "(%[p],%[l]," one ")", 13)

#endif
