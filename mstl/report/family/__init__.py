"""The family of transfer methods: toys that show what they align, and what became of the bars."""
