"""What a picture or a video says of itself, and how to recognise it again; nothing of it is sent.

It stands on the extra `evidence`, which the rest of the client does without. It knows files and
their labels, no buyer and no incident, and gives attributes, never a verdict. The parts:
`inspection.inspect` for what a file declares, `decoding.decode` for the one way to its pixels.
"""
