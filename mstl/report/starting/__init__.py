"""Networks that are trained: what their features tell, and what holds them."""
