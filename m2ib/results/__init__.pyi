from .explanation import Explanation, load_explanation
from .summary import Summary
from .table import ResultTable, open

__all__ = ["Explanation", "ResultTable", "Summary", "load_explanation", "open"]
