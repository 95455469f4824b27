local t = require "t"
local pages = require "support.pages"

local dialects = { "openai-chat", "openai-responses", "anthropic", "gemini" }

for _, from in ipairs(dialects) do
  for _, to in ipairs(dialects) do
    if from ~= to then
      local name = from .. "-to-" .. to
      pages.declare(name, t.read_file("tests/wire/dialects/" .. name .. ".md"))
    end
  end
end

-- Providers' only.
for _, to in ipairs { "bedrock", "cohere" } do
  local name = "openai-chat-to-" .. to
  pages.declare(name, t.read_file("tests/wire/dialects/" .. name .. ".md"))
end
