"""Figures and pictures to pages: Markdown, LaTeX, HTML."""
