"""Pages of HTML that need no network: a front page, one of every notebook and document, and pages to click on.

They show the files beside them, and are light or dark as the reader's system is.
"""
