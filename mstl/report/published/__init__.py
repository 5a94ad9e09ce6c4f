"""What papers report on their benchmarks, beside what we measure on them."""
