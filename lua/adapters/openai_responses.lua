--- openai_responses.lua - the OpenAI Responses dialect. Its errors and their meaning are those of Chat Completions.
return {
  name = "openai_responses",
  extends = "openai_chat",
  dialect = "openai_responses",
  base_url = "https://api.openai.com/v1",

  converse = "responses",
  operations = {
    extends = false,
    responses = "/responses",
    response_tokens = "/responses/input_tokens",
    models = "/models",
  },

  usage_opt_in = false, -- the last event always has it
  usage = {
    extends = false,
    object = { "usage", "response.usage" },
    input = { "usage.input_tokens", "response.usage.input_tokens" },
    output = { "usage.output_tokens", "response.usage.output_tokens" },
    total = { "usage.total_tokens", "response.usage.total_tokens" },
    cached_read = {
      "usage.input_tokens_details.cached_tokens", "response.usage.input_tokens_details.cached_tokens",
    },
    cached_write = {
      "usage.input_tokens_details.cache_write_tokens", "response.usage.input_tokens_details.cache_write_tokens",
    },
    cached_write_long = {
      "usage.input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
      "response.usage.input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
    },
    reasoning = {
      "usage.output_tokens_details.reasoning_tokens", "response.usage.output_tokens_details.reasoning_tokens",
    },
    model = { "model", "response.model" },
    tier = { "service_tier", "response.service_tier" },
  },

  answer = {
    extends = false,
    item = { "output" },
    reasoning = { "output[*].summary[*].text" },
    refusal = { "output[*].content[*].refusal" },
    data = { "output[*].result", "input_tokens" },
    finish = { "incomplete_details.reason", "status" },
    typed = {
      {
        path = "output[*].content[*].text",
        tag = "output[*].content[*].type",
        by = { output_text = "content", reasoning_text = "reasoning" },
      },
      {
        path = "output[*].call_id",
        tag = "output[*].type",
        by = {
          function_call = "tool_call",
          custom_tool_call = "tool_call",
          computer_call = "tool_call",
          shell_call = "tool_call",
          local_shell_call = "tool_call",
          apply_patch_call = "tool_call",
        },
      },
      { path = "output[*].arguments", tag = "output[*].type", by = { function_call = "tool_arguments" } },
      {
        path = "output[*].id",
        tag = "output[*].type",
        by = {
          web_search_call = "data",
          file_search_call = "data",
          code_interpreter_call = "data",
          image_generation_call = "data",
          mcp_call = "data",
          mcp_list_tools = "data",
          mcp_approval_request = "data",
          tool_search_call = "data",
          program = "data",
          compaction = "data",
        },
      },
    },
  },

  -- Every event says its type twice: as its name and inside.
  chunk = {
    extends = false,
    type = { "type" },
    block = { "output_index" },
    item = { "response" },
    data = { "partial_image_b64" },
    rare = { "annotation" },
    finish = { "response.incomplete_details.reason" },
    typed = {
      {
        path = "response.status",
        by = {
          ["response.completed"] = "finish",
          ["response.incomplete"] = "finish",
          ["response.failed"] = "finish",
        },
      },
      {
        path = "delta",
        by = {
          ["response.output_text.delta"] = "content",
          ["response.refusal.delta"] = "refusal",
          ["response.reasoning_summary_text.delta"] = "reasoning",
          ["response.reasoning_text.delta"] = "reasoning",
          ["response.function_call_arguments.delta"] = "tool_arguments",
          ["response.custom_tool_call_input.delta"] = "rare_data",
          ["response.mcp_call_arguments.delta"] = "data",
          ["response.code_interpreter_call_code.delta"] = "data",
          ["response.shell_call_command.delta"] = "data",
          ["response.shell_call_output_content.delta"] = "data",
          ["response.audio.delta"] = "data",
          ["response.audio.transcript.delta"] = "data",
        },
      },
      {
        path = "item.name",
        tag2 = "item.type",
        by = {
          ["response.output_item.added function_call"] = "tool_name",
          ["response.output_item.added custom_tool_call"] = "rare_data",
        },
      },
      {
        path = "item.call_id",
        tag2 = "item.type",
        by = {
          ["response.output_item.added function_call"] = "tool_id",
          ["response.output_item.done computer_call"] = "data",
          ["response.output_item.done shell_call"] = "data",
          ["response.output_item.done local_shell_call"] = "data",
          ["response.output_item.done apply_patch_call"] = "data",
        },
      },
      {
        path = "item.id",
        tag2 = "item.type",
        by = {
          ["response.output_item.done web_search_call"] = "data",
          ["response.output_item.done file_search_call"] = "data",
          ["response.output_item.done code_interpreter_call"] = "data",
          ["response.output_item.done image_generation_call"] = "data",
          ["response.output_item.done mcp_call"] = "data",
          ["response.output_item.done mcp_list_tools"] = "data",
          ["response.output_item.done mcp_approval_request"] = "data",
          ["response.output_item.done tool_search_call"] = "data",
          ["response.output_item.done program"] = "data",
          ["response.output_item.done compaction"] = "data",
        },
      },
      { path = "item.encrypted_content", by = { ["response.output_item.done"] = "rare" } },
    },
  },

  error = {
    extends = false,
    object = { "error", "response.error" },
    type = { "error.type", "response.error.type" },
    code = { "error.code", "response.error.code", "code" },
    message = { "error.message", "response.error.message", "message" },
    param = { "error.param", "response.error.param", "param" },
    detail = { "error.innererror.code" },
    retry_texts = { "try again in ", "retry in ", "retry after " },
    events = { "error" }, -- flat: its members stand at the top
  },

  done_events = { "response.completed", "response.incomplete", "response.failed" },

  finish_failed = { "failed" },
  finish_cut = { "max_output_tokens" },
  finish_filtered = { "content_filter" },
  finish_later = { "queued", "in_progress" }, -- asked for in the background

  rules = {
    { code = "vector_store_timeout", class = "timeout_total" },
    { code = "data_residency_mismatch", class = "permission" },
  },
  repairs = {
    {
      name = "drop_responses_field",
      fields = { "truncation", "prompt_cache_options", "context_management", "include" },
      codes = { "unsupported_parameter", "unknown_parameter", "extra_forbidden" },
      texts = { "unrecognized request argument", "extra inputs are not permitted", "not supported with this model" },
    },
  },
}
