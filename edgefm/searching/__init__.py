"""Many recipes tried under several budgets: space, what is tried next, storage, finalists, the page of the result."""
