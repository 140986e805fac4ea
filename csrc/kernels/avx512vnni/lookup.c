/* LOOKUP, 64 bytes at a time: VPERMI2B takes 7 bits of an index, the eighth chooses between the two
 * halves of the table. Needs VBMI, which the first processors with VNNI lack. */
#include "../ref/elementwise.h"

#include <cpuid.h>
#include <immintrin.h>

extern const ei_kernel ei_ref_lookup;

static bool has_vbmi(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_AVX512VBMI);
}

static int check(const ei_node *node) {
    return has_vbmi() ? ei_ref_lookup.check(node) : EI_E_UNSUPPORTED;
}

__attribute__((target("avx512vbmi"))) static int run(const ei_node *node, const ei_work *work) {
    const uint8_t *x = node->in[0]->data, *table = node->in[1]->data;
    uint8_t *y = node->out[0]->data;
    ei_lines l = ei_lines_of(node, work);
    x += l.x, y += l.y;
    __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64),
            t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (; l.count; l.count--, x += l.x_step, y += l.y_step)
        for (int64_t i = 0; i < l.width; i += 64) {
            __mmask64 mask = l.width - i >= 64 ? ~0ull : (1ull << (l.width - i)) - 1;
            __m512i v = _mm512_maskz_loadu_epi8(mask, x + i);
            __m512i low = _mm512_permutex2var_epi8(t0, v, t1);
            __m512i high = _mm512_permutex2var_epi8(t2, v, t3);
            v = _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high);
            _mm512_mask_storeu_epi8(y + i, mask, v);
        }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_lookup = {.name = "avx512vnni/lookup",
                                        .op = EI_OP_LOOKUP,
                                        .parallel = true,
                                        .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                        .check = check,
                                        .run = run};
