/* Parameters of operators that move data. See ops.h. */
#ifndef EI_OPS_SHAPE_H
#define EI_OPS_SHAPE_H

/* cffi:begin */
/* cffi:end */

#endif
