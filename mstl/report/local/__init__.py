"""Who knows which part: one finished run measured from within, and its figures."""
