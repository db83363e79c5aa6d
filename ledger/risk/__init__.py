"""What evidence means: policy, score, reasons, advice. Pure, and integers throughout."""
