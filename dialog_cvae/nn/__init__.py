"""What the networks are computed with: matrix products, recurrent layers, losses, encoders and the decoder."""
