from thetadot.stability.fixed_points import fixed_point_exponents
from thetadot.stability.spectrum import LyapunovSpectrum, lyapunov
from thetadot.stability.status import SpectrumStatus
from thetadot.stability.tangent import adjoint, tangent, tangent_matrix
