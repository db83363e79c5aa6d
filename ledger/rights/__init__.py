"""What the buyer is owed, by jurisdiction: profiles as data, notice windows. Pure."""
