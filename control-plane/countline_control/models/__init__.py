"""The service of models: deployments, live versions, trials."""
