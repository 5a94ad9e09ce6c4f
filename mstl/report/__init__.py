"""What finished runs say: tables, intervals, figures and widgets of the book."""
