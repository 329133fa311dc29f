"""What the method is compared with: fixed materials, random shapes, blending."""
