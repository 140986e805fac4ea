"""The public TFLite schema (version 3) as tables: what the reader and the writer share.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs. An options table is written as
"name:type[=default]" for each field in the order of its id; "-" is a retired field.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

#: Builtin operators by code.
OPERATORS = tuple(
    """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU
    RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
    UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN
    SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
    EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
    TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE
    POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND
    LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V
    UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG
    QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4
    NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL
    COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
    RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC
    STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE
    STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION
    STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND
    STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM
    STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
    STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE
    STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD
    STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT
    STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
    REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT
    STABLEHLO_CASE
    """.split()
)

#: Options tables by their number in the BuiltinOptions union.
OPTIONS: dict[int, str] = {
    1: (  # Conv2DOptions
        "padding:padding stride_w:i32 stride_h:i32 fused_activation_function:activation "
        "dilation_w_factor:i32=1 dilation_h_factor:i32=1 quantized_bias_type:type"
    ),
    2: (  # DepthwiseConv2DOptions
        "padding:padding stride_w:i32 stride_h:i32 depth_multiplier:i32 "
        "fused_activation_function:activation dilation_w_factor:i32=1 "
        "dilation_h_factor:i32=1"
    ),
    3: (  # ConcatEmbeddingsOptions
        "num_channels:i32 num_columns_per_channel:[i32] embedding_dim_per_channel:[i32]"
    ),
    4: "type:i8",  # LSHProjectionOptions
    5: (  # Pool2DOptions
        "padding:padding stride_w:i32 stride_h:i32 filter_width:i32 filter_height:i32 "
        "fused_activation_function:activation"
    ),
    6: (  # SVDFOptions
        "rank:i32 fused_activation_function:activation asymmetric_quantize_inputs:bool"
    ),
    7: "fused_activation_function:activation asymmetric_quantize_inputs:bool",  # RNNOptions
    8: (  # FullyConnectedOptions
        "fused_activation_function:activation weights_format:weights keep_num_dims:bool "
        "asymmetric_quantize_inputs:bool quantized_bias_type:type"
    ),
    9: "beta:f32",  # SoftmaxOptions
    10: "axis:i32 fused_activation_function:activation",  # ConcatenationOptions
    11: "fused_activation_function:activation pot_scale_int16:bool=1",  # AddOptions
    12: "fused_activation_function:activation",  # L2NormOptions
    13: "radius:i32 bias:f32 alpha:f32 beta:f32",  # LocalResponseNormalizationOptions
    14: (  # LSTMOptions
        "fused_activation_function:activation cell_clip:f32 proj_clip:f32 kernel_type:i8 "
        "asymmetric_quantize_inputs:bool"
    ),
    15: "- - align_corners:bool half_pixel_centers:bool",  # ResizeBilinearOptions
    16: "subgraph:u32",  # CallOptions
    17: "new_shape:[i32]",  # ReshapeOptions
    18: "ngram_size:i32 max_skip_size:i32 include_all_ngrams:bool",  # SkipGramOptions
    19: "block_size:i32",  # SpaceToDepthOptions
    20: "combiner:i8",  # EmbeddingLookupSparseOptions
    21: "fused_activation_function:activation",  # MulOptions
    23: "axis:i32 batch_dims:i32",  # GatherOptions
    27: "keep_dims:bool",  # ReducerOptions
    28: "fused_activation_function:activation pot_scale_int16:bool=1",  # SubOptions
    29: "fused_activation_function:activation",  # DivOptions
    30: "squeeze_dims:[i32]",  # SqueezeOptions
    31: (  # SequenceRNNOptions
        "time_major:bool fused_activation_function:activation asymmetric_quantize_inputs:bool"
    ),
    32: (  # StridedSliceOptions
        "begin_mask:i32 end_mask:i32 ellipsis_mask:i32 new_axis_mask:i32 "
        "shrink_axis_mask:i32 offset:bool"
    ),
    35: "num_splits:i32",  # SplitOptions
    37: "in_data_type:type out_data_type:type",  # CastOptions
    40: "output_type:type",  # ArgMaxOptions
    49: (  # TransposeConvOptions
        "padding:padding stride_w:i32 stride_h:i32 fused_activation_function:activation "
        "quantized_bias_type:type"
    ),
    50: "validate_indices:bool",  # SparseToDenseOptions
    55: "out_type:type",  # ShapeOptions
    57: "output_type:type",  # ArgMinOptions
    58: "min:f32 max:f32 num_bits:i32 narrow_range:bool",  # FakeQuantOptions
    59: "values_count:i32 axis:i32",  # PackOptions
    61: "axis:i32",  # OneHotOptions
    64: "num:i32 axis:i32",  # UnpackOptions
    69: (  # BidirectionalSequenceLSTMOptions
        "fused_activation_function:activation cell_clip:f32 proj_clip:f32 "
        "merge_outputs:bool time_major:bool=1 asymmetric_quantize_inputs:bool"
    ),
    70: (  # BidirectionalSequenceRNNOptions
        "time_major:bool fused_activation_function:activation merge_outputs:bool "
        "asymmetric_quantize_inputs:bool"
    ),
    71: (  # UnidirectionalSequenceLSTMOptions
        "fused_activation_function:activation cell_clip:f32 proj_clip:f32 time_major:bool "
        "asymmetric_quantize_inputs:bool diagonal_recurrent_tensors:bool"
    ),
    74: "align_corners:bool half_pixel_centers:bool",  # ResizeNearestNeighborOptions
    75: "alpha:f32",  # LeakyReluOptions
    77: "mode:mirror",  # MirrorPadOptions
    79: "num_splits:i32",  # SplitVOptions
    80: "idx_out_type:type=2",  # UniqueOptions
    87: "seq_dim:i32 batch_dim:i32",  # ReverseSequenceOptions
    92: "then_subgraph_index:i32 else_subgraph_index:i32",  # IfOptions
    93: "cond_subgraph_index:i32 body_subgraph_index:i32",  # WhileOptions
    94: "block_size:i32",  # DepthToSpaceOptions
    101: "adj_x:bool adj_y:bool asymmetric_quantize_inputs:bool",  # BatchMatMulOptions
    102: "exclusive:bool reverse:bool",  # CumsumOptions
    103: "init_subgraph_index:i32",  # CallOnceOptions
    106: (  # Conv3DOptions
        "padding:padding stride_d:i32 stride_w:i32 stride_h:i32 "
        "fused_activation_function:activation dilation_d_factor:i32=1 "
        "dilation_w_factor:i32=1 dilation_h_factor:i32=1"
    ),
    107: "table_id:i32 key_dtype:i8 value_dtype:i8",  # HashtableOptions
    111: "container:str shared_name:str",  # VarHandleOptions
    114: "seed:i64 seed2:i64",  # RandomOptions
    115: "boundaries:[f32]",  # BucketizeOptions
    116: "approximate:bool",  # GeluOptions
}

#: Enumerations that stand in options, by the type name used above.
ENUMS: dict[str, tuple[str, ...]] = {
    "activation": ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"),
    "padding": ("SAME", "VALID"),
    "mirror": ("REFLECT", "SYMMETRIC"),
    "weights": ("DEFAULT", "SHUFFLED4x16INT8"),
}

#: Tensor types by code; None where numpy has no such type. Those outside `tensor.DTYPES` can be
#: read and shown; no kernel takes them.
TENSOR_TYPES: tuple[str | None, ...] = (
    "float32", "float16", "int32", "uint8", "int64", None, "bool", "int16", "complex64", "int8",
    "float64", "complex128", "uint64", "resource", None, "uint32", "uint16", "int4",
)  # fmt: skip

#: Names of the types above, for error texts.
TENSOR_TYPE_NAMES = (
    "FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 "
    "UINT64 RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2"
).split()

#: Number of each operator's options table in the union.
_UNION = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 2, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5, "L2_POOL_2D": 5,
    "SVDF": 6, "FULLY_CONNECTED": 8, "SOFTMAX": 9, "CONCATENATION": 10, "ADD": 11,
    "L2_NORMALIZATION": 12, "RESIZE_BILINEAR": 15, "RESHAPE": 17, "SPACE_TO_DEPTH": 19, "MUL": 21,
    "PAD": 22, "GATHER": 23, "BATCH_TO_SPACE_ND": 24, "SPACE_TO_BATCH_ND": 25, "TRANSPOSE": 26,
    "MEAN": 27, "SUM": 27, "REDUCE_MAX": 27, "REDUCE_MIN": 27, "REDUCE_PROD": 27, "REDUCE_ANY": 27,
    "REDUCE_ALL": 27, "SUB": 28, "DIV": 29, "SQUEEZE": 30, "STRIDED_SLICE": 32, "EXP": 33,
    "TOPK_V2": 34, "SPLIT": 35, "LOG_SOFTMAX": 36, "CAST": 37, "DEQUANTIZE": 38, "MAXIMUM": 39,
    "MINIMUM": 39, "ARG_MAX": 40, "LESS": 41, "NEG": 42, "PADV2": 43, "GREATER": 44,
    "GREATER_EQUAL": 45, "LESS_EQUAL": 46, "SELECT": 47, "SLICE": 48, "TRANSPOSE_CONV": 49,
    "TILE": 51, "EXPAND_DIMS": 52, "EQUAL": 53, "NOT_EQUAL": 54, "SHAPE": 55, "POW": 56,
    "ARG_MIN": 57, "PACK": 59, "LOGICAL_OR": 60, "ONE_HOT": 61, "LOGICAL_AND": 62,
    "LOGICAL_NOT": 63, "UNPACK": 64, "FLOOR_DIV": 65, "SQUARE": 66, "ZEROS_LIKE": 67, "FILL": 68,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 71, "FLOOR_MOD": 72, "RANGE": 73,
    "RESIZE_NEAREST_NEIGHBOR": 74, "LEAKY_RELU": 75, "SQUARED_DIFFERENCE": 76, "MIRROR_PAD": 77,
    "ABS": 78, "SPLIT_V": 79, "REVERSE_V2": 81, "ADD_N": 82, "GATHER_ND": 83, "COS": 84,
    "QUANTIZE": 89, "HARD_SWISH": 91, "DEPTH_TO_SPACE": 94, "SELECT_V2": 98, "BATCH_MATMUL": 101,
    "CUMSUM": 102, "CALL_ONCE": 103, "BROADCAST_TO": 104, "VAR_HANDLE": 111, "READ_VARIABLE": 112,
    "ASSIGN_VARIABLE": 113, "GELU": 116, "CONCAT_EMBEDDINGS": 3, "LSH_PROJECTION": 4, "RNN": 7,
    "LOCAL_RESPONSE_NORMALIZATION": 13, "LSTM": 14, "CALL": 16, "SKIP_GRAM": 18,
    "EMBEDDING_LOOKUP_SPARSE": 20, "UNIDIRECTIONAL_SEQUENCE_RNN": 31, "SPARSE_TO_DENSE": 50,
    "FAKE_QUANT": 58, "BIDIRECTIONAL_SEQUENCE_LSTM": 69, "BIDIRECTIONAL_SEQUENCE_RNN": 70,
    "UNIQUE": 80, "WHERE": 85, "RANK": 86, "REVERSE_SEQUENCE": 87, "MATRIX_DIAG": 88,
    "MATRIX_SET_DIAG": 90, "IF": 92, "WHILE": 93, "NON_MAX_SUPPRESSION_V4": 95,
    "NON_MAX_SUPPRESSION_V5": 96, "SCATTER_ND": 97, "DENSIFY": 99, "SEGMENT_SUM": 100,
    "RFFT2D": 105, "CONV_3D": 106, "CONV_3D_TRANSPOSE": 106, "HASHTABLE": 107,
    "HASHTABLE_FIND": 108, "HASHTABLE_IMPORT": 109, "HASHTABLE_SIZE": 110,
    "RANDOM_STANDARD_NORMAL": 114, "RANDOM_UNIFORM": 114, "MULTINOMIAL": 114, "BUCKETIZE": 115,
    "DYNAMIC_UPDATE_SLICE": 117, "UNSORTED_SEGMENT_PROD": 118, "UNSORTED_SEGMENT_MAX": 119,
    "UNSORTED_SEGMENT_MIN": 120, "UNSORTED_SEGMENT_SUM": 121, "ATAN2": 122, "SIGN": 123,
    "BITCAST": 124, "BITWISE_XOR": 125, "RIGHT_SHIFT": 126,
}  # fmt: skip

#: Operators whose options stand in the schema's second union, which is not read.
_SECOND_UNION = (
    "REDUCE_WINDOW",
    "DILATE",
    "CUSTOM",
    "DELEGATE",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
)


@dataclass(frozen=True)
class Field:
    """One field of an options table: its id, name, type ("i32", "[i32]", an enum) and default."""

    id: int
    name: str
    type: str
    default: int


@cache
def fields(union: int) -> tuple[Field, ...]:
    """Fields of the options table with that number in the union; () where it has none."""
    found = []
    for i, text in enumerate(OPTIONS.get(union, "").split()):
        if text != "-":
            name, kind = text.split(":")
            kind, _, default = kind.partition("=")
            found.append(Field(i, name, kind, int(default or 0)))
    return tuple(found)


def carries_options(op: str) -> bool:
    """Whether the reader keeps all that the file says of such an operator."""
    return op in OPERATORS and not op.startswith("STABLEHLO_") and op not in _SECOND_UNION


def subgraph_attr(field: str) -> str | None:
    """Attribute that holds the Graph an option field points at ("init_subgraph"), or None."""
    return field[: -len("_index")] if field.endswith("_subgraph_index") else None


def union_of(op: str) -> int:
    """Number of the options table that belongs to an operator; 0 where it has none."""
    return _UNION.get(op, 0)


#: Custom operators that LiteRT's own package runs.
LITERT_CUSTOM = (
    "TFLite_Detection_PostProcess",
    "Convolution2DTransposeBias",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "AudioSpectrogram",
    "Mfcc",
)

#: Custom operators that a vendor's compiler made: (hardware, what runs them).
HARDWARE = {
    "edgetpu-custom-op": ("Google Coral Edge TPU", "libedgetpu.so.1 and the device"),
    "ethos-u": ("Arm Ethos-U NPU", "the Ethos-U driver of the microcontroller it was compiled for"),
    "DISPATCH_OP": ("a vendor's NPU (LiteRT ahead-of-time compilation)", "its dispatch library"),
    "qnn-custom-op": ("Qualcomm Hexagon NPU", "libQnnTFLiteDelegate.so"),
}


def hardware_of(op: str) -> tuple[str, str] | None:
    """(hardware, what is missing here) of an operator compiled for an NPU, else None."""
    return HARDWARE.get(op)
