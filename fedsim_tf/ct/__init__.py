"""CT physics: cone-beam geometry, attenuation, Feldkamp reconstruction and the differentiable simulator."""
