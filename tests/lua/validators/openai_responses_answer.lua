--- openai_responses_answer.lua - a whole answer as the Responses API gives it.
return require("validators.openai_responses_shapes").response
