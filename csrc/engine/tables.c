/* Which kernel tables an ISA may use, best first. */
#include "plan.h"

static const ei_kernel *const *const ref_only[] = {ei_table_ref, NULL};
#if defined(__x86_64__)
static const ei_kernel *const *const avx2[] = {ei_table_avx2, ei_table_ref, NULL};
static const ei_kernel *const *const avx512vnni[] = {ei_table_avx512vnni, ei_table_avx2,
                                                     ei_table_ref, NULL};
static const ei_kernel *const *const avxvnni[] = {ei_table_avxvnni, ei_table_avx2, ei_table_ref,
                                                  NULL};
#elif defined(__aarch64__)
static const ei_kernel *const *const neon[] = {ei_table_neon, ei_table_ref, NULL};
static const ei_kernel *const *const dotprod[] = {ei_table_dotprod, ei_table_neon, ei_table_ref,
                                                  NULL};
static const ei_kernel *const *const i8mm[] = {ei_table_i8mm, ei_table_dotprod, ei_table_neon,
                                               ei_table_ref, NULL};
#endif

static const ei_kernel *const *const *chain(int isa) {
    switch (isa) {
#if defined(__x86_64__)
    case EI_ISA_AVX2:
        return avx2;
    case EI_ISA_AVX512VNNI:
        return avx512vnni;
    case EI_ISA_AVXVNNI:
        return avxvnni;
#elif defined(__aarch64__)
    case EI_ISA_NEON:
        return neon;
    case EI_ISA_DOTPROD:
        return dotprod;
    case EI_ISA_I8MM:
        return i8mm;
#endif
    default:
        return ref_only;
    }
}

const char *ei_isa_kernel(int isa, int i) {
    const ei_kernel *const *own = *chain(isa); /* the first table is the ISA's own */
    if (isa < 0 || isa >= EI_ISAS || i < 0 || (own == ei_table_ref && isa != EI_ISA_REF))
        return NULL;
    for (int k = 0; own[k]; k++)
        if (k == i) return own[k]->name;
    return NULL;
}

/* Whether the kernel takes the node's tensors whose rows lie apart, if there are any. */
static bool takes_strides(const ei_kernel *k, const ei_node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && ei_is_strided(n->in[i]) && (i || !(k->strided & EI_STRIDED_X)))
            return false;
    for (int i = 0; i < n->n_out; i++)
        if (ei_is_strided(n->out[i]) && (i || !(k->strided & EI_STRIDED_Y))) return false;
    return true;
}

const ei_kernel *ei_find_kernel(int isa, const ei_node *node) {
    for (const ei_kernel *const *const *table = chain(isa); *table; table++)
        for (const ei_kernel *const *k = *table; *k; k++)
            if ((*k)->op == node->op && (*k)->layout == node->layout && takes_strides(*k, node) &&
                (*k)->check(node) == EI_OK)
                return *k;
    return NULL;
}
