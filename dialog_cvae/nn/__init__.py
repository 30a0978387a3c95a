"""Building blocks of the networks: matrix products, recurrent layers, losses, encoders and the decoder."""
