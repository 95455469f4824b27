local pages = require "support.pages"

for _, name in ipairs { "openai-chat-to-anthropic", "anthropic-to-openai-chat" } do
  pages.declare(name, read_file("tests/wire/dialects/" .. name .. ".md"))
end
