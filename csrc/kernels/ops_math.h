/* Parameters of arithmetic operators. See ops.h. */
#ifndef EI_OPS_MATH_H
#define EI_OPS_MATH_H

/* cffi:begin */
/* cffi:end */

#endif
