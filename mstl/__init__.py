"""Multi-source adversarial transfer learning."""
