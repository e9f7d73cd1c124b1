"""Pages of HTML that need no network: a front page, a page of every notebook, and pages to click on.

They show the files beside them, and are light or dark as the reader's system is.
"""
