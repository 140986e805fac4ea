/* The plan loader under libFuzzer, which is guided by coverage: see tools/fuzz_plan.py --libfuzzer.
 */
#define _POSIX_C_SOURCE 200809L
#include "plan_attempt.h"

enum { MOST = 1 << 14 }; /* bytes of arena: speed is what finds paths here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *plan = exact(size);
    if (size) memcpy(plan, data, size);
    if (size >= sizeof(ei_file_header)) make_checksum_right(plan, size);
    state = size;
    attempt(plan, size, MOST, 1);
    free(plan);
    return 0;
}
