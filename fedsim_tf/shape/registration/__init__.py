"""Group-wise registration, which brings the label surfaces of several subjects into point correspondence."""

from fedsim_tf.shape.registration.groupwise import Iteration, Registration, register_groupwise
from fedsim_tf.shape.registration.options import RegistrationOptions

__all__ = ["Iteration", "Registration", "RegistrationOptions", "register_groupwise"]
