"""Texts of libraries that people read here, but that the libraries do not have in Russian.

No code uses them: ``make messages`` collects them for translation. tests/test_translations.py
checks that the libraries still have these texts.
"""

from django.utils.translation import gettext_noop, ngettext_lazy

# simplejwt calls its Russian ru_RU, which Django does not read for ru.
SIMPLEJWT = (
    gettext_noop("Authorization header must contain two space-delimited values"),
    gettext_noop("Given token not valid for any token type"),
    gettext_noop("No active account found for the given token."),
    gettext_noop("No active account found with the given credentials"),
    gettext_noop("The user's password has been changed."),
    gettext_noop("Token contained no recognizable user identification"),
    gettext_noop("Token has no id"),
    gettext_noop("Token has no type"),
    gettext_noop("Token has wrong type"),
    gettext_noop("Token is expired"),
    gettext_noop("Token is invalid"),
    gettext_noop("Token is invalid or expired"),
    gettext_noop("User is inactive"),
    gettext_noop("User not found"),
)
REST_FRAMEWORK = (
    gettext_noop("Ensure this field has no more than {max_length} elements."),
    gettext_noop("Invalid input."),
    gettext_noop("Must be a valid UUID."),
    gettext_noop("Number of results to return per page."),
    gettext_noop("Surrogate characters are not allowed: U+{code_point:X}."),
    gettext_noop("The pagination cursor value."),
)
REST_FRAMEWORK_PLURALS = (
    ngettext_lazy(
        "Expected available in {wait} second.", "Expected available in {wait} seconds.", "wait"
    ),
)
DJANGO_TASKS_DB = (
    gettext_noop("Task Result"),
    gettext_noop("Task Results"),
)
