"""The page: server-rendered HTML over the same functions as the API, in English and Chinese, without a build step."""
