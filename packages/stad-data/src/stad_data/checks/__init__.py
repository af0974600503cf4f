"""What can be wrong with a dataset, one function per problem; `stad_data.check` runs them all."""
