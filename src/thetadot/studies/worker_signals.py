"""What workers of a local Dask cluster load first: interrupts of the terminal are their client's to act on."""

import signal
import threading

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
