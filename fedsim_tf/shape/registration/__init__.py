"""Group-wise registration: label surfaces of several subjects into point correspondence."""

from fedsim_tf.shape.registration.groupwise import Iteration, Registration, register_groupwise, register_with_record
from fedsim_tf.shape.registration.options import RegistrationOptions

__all__ = ["Iteration", "Registration", "RegistrationOptions", "register_groupwise", "register_with_record"]
