"""Saddles."""
from thetadot.saddles.correlation import *
from thetadot.saddles.correlation import neural_correlation
from thetadot.saddles.correlation_flow import correlation_flow
from thetadot.saddles.correlation_points import correlation_points, refine_point
from thetadot.saddles.homogeneity import homogeneity
from thetadot.saddles.sparsity import *
