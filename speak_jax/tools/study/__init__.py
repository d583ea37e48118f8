"""A blind user study: its order, page, answers, and their agreement."""
