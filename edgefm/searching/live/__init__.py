"""What a person sees of a search while it runs: lines below the bar in a terminal, and the page live.html."""
