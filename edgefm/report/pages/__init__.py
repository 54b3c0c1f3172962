"""The pages of a report: HTML, Markdown, tables."""
