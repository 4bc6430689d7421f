"""The list of references is labelled, and sorted, as the text cites: "Adebayo et al., 2018". A Sphinx extension of `_config.yml`."""

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def label(entry) -> str:
    """The names by the template of the citations in the text, and the year."""
    style = AuthorYearReferenceStyle()
    names = style.person.author_or_editor_or_title(full=False).format_data({"entry": entry, "style": style})
    return f"{names.render_as('text')}, {entry.fields['year']}"


class Labels(BaseLabelStyle):
    def format_labels(self, sorted_entries):
        return map(label, sorted_entries)


class Sorting(BaseSortingStyle):
    def sorting_key(self, entry):
        return label(entry).lower()


class AuthorYear(Style):
    default_label_style = Labels
    default_sorting_style = Sorting


def setup(app):
    register_plugin("pybtex.style.formatting", "author_year", AuthorYear)
    return {"parallel_read_safe": True}
