"""The only SQL of the project: tables, transactions and one file of statements per subject.

Functions here take an open connection and plain values and give rows or domain values back.
They decide nothing; what a row means is known by the use cases above.
"""
