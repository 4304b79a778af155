"""Symmetry: what training keeps, wide two-layer networks as particles, and the reduced dynamics they follow."""

from thetadot.symmetry.alignment import Alignment, alignment
from thetadot.symmetry.angle_reductions import (
    RadialReduction,
    RidgeReduction,
    radial_reduction,
    ridge_reduction,
)
from thetadot.symmetry.check import SymmetryCheck, check_symmetry
from thetadot.symmetry.errors import HypothesisError, ParticleError, SymmetryError, UnsupportedNetworkError
from thetadot.symmetry.figures import (
    plot_alignment,
    plot_angle_measure,
    plot_odd,
    plot_particles,
    plot_predictor_slice,
    plot_symmetry_residual,
    plot_width_convergence,
)
from thetadot.symmetry.groups import SymmetryGroup, generate_group
from thetadot.symmetry.isotropic import IsotropicSolution, isotropic_solution
from thetadot.symmetry.odd import OddReduction, odd_reduction
from thetadot.symmetry.orbits import matching_residual, orbit_residual, symmetrize, symmetry_defect
from thetadot.symmetry.particle_reductions import (
    ConeReduction,
    OrbitReduction,
    cone_reduction,
    orbit_reduction,
)
from thetadot.symmetry.particles import Particles, sample_particles, to_particles, to_theta
from thetadot.symmetry.predictor import OddEven, homogeneous_floor, mean_square_distance, split_odd_even
from thetadot.symmetry.reduction import Reduction
from thetadot.symmetry.study import Options, SymmetryResult, analyse
from thetadot.symmetry.subspace import SubspaceReduction, subspace_reduction

__all__ = [
    "Alignment",
    "ConeReduction",
    "HypothesisError",
    "IsotropicSolution",
    "OddEven",
    "OddReduction",
    "Options",
    "OrbitReduction",
    "ParticleError",
    "Particles",
    "RadialReduction",
    "Reduction",
    "RidgeReduction",
    "SubspaceReduction",
    "SymmetryCheck",
    "SymmetryError",
    "SymmetryGroup",
    "SymmetryResult",
    "UnsupportedNetworkError",
    "alignment",
    "analyse",
    "check_symmetry",
    "cone_reduction",
    "generate_group",
    "homogeneous_floor",
    "isotropic_solution",
    "matching_residual",
    "mean_square_distance",
    "odd_reduction",
    "orbit_reduction",
    "orbit_residual",
    "plot_alignment",
    "plot_angle_measure",
    "plot_odd",
    "plot_particles",
    "plot_predictor_slice",
    "plot_symmetry_residual",
    "plot_width_convergence",
    "radial_reduction",
    "ridge_reduction",
    "sample_particles",
    "split_odd_even",
    "subspace_reduction",
    "symmetrize",
    "symmetry_defect",
    "to_particles",
    "to_theta",
]
