"""Speed beside other libraries, on one core.

Importing any module of this package binds the process to one core, the last that it may use (`taskset -c 0` before
the command chooses another), and tells every numerical library to use one thread. This happens here because it must
come before JAX, OpenBLAS and PyTorch load. XLA sizes its pools by the cores that it finds: its own flag for one
thread is not needed, and would change the code that it generates.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
else:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
