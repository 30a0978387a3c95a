"""What the latent variable knows: likelihood, KL, mutual information, active units."""
