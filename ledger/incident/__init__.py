"""What platforms say about a refund: taxonomy, standard of proof, states. Pure."""
