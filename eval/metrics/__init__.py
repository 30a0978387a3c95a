"""Pure metrics: tokens or arrays in, numbers out."""
