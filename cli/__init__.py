"""`bcl <noun> <verb>`: a second interface to the ledger, which keeps the first honest.

Data goes to standard output, talk and progress to standard error. Exit 0: fine. 1: the thing
asked about is bad. 2: asked wrongly.
"""
