"""The C library's allocator, told to keep memory for large tensors instead of giving it back after every operation."""

import ctypes
import ctypes.util
import sys

M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3

KEPT_BYTES = 2**31 - 1
TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Stop glibc from mapping and unmapping pages for each large tensor of the CPU.

    By default every tensor above 128 KiB may get fresh pages, which the kernel must zero: for small convolutional
    networks that costs more than the arithmetic. The process then holds on to the most it has ever used.

    Returns:
        Whether the setting took; it does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(ctypes.util.find_library("c"))
    if not hasattr(library, "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, KEPT_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    accepted = [library.mallopt(option, value) == 1 for option, value in settings]
    return all(accepted)
