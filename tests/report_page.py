"""A page of a report, taken apart."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]
