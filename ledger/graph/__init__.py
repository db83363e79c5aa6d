"""What follows from the log for linking: postings, links, neighbourhoods. Pure."""
