--- vendors.lua - the providers that make the default project when the environment has their key; and who a provider is,
--- whatever it is called.
---
--- The first whose key is set answers any model name; all of them answer "name/model".
local vendors = {}

vendors.list = {
  { name = "openai", adapter = "openai", key = "OPENAI_API_KEY", base = "OPENAI_BASE_URL",
    organization = "OPENAI_ORG_ID", project = "OPENAI_PROJECT_ID", host = "api.openai.com" },
  { name = "openrouter", adapter = "openrouter", key = "OPENROUTER_API_KEY", host = "openrouter.ai" },
  { name = "groq", adapter = "groq", key = "GROQ_API_KEY", host = "api.groq.com" },
  { name = "mistral", adapter = "mistral", key = "MISTRAL_API_KEY", host = "api.mistral.ai" },
  { name = "deepseek", adapter = "deepseek", key = "DEEPSEEK_API_KEY", host = "api.deepseek.com" },
  { name = "xai", adapter = "xai", key = "XAI_API_KEY", host = "api.x.ai" },
  { name = "together", adapter = "together", key = "TOGETHER_API_KEY", host = "api.together.xyz" },
  { name = "fireworks", adapter = "fireworks", key = "FIREWORKS_API_KEY", host = "api.fireworks.ai" },
  { name = "gemini", adapter = "gemini_openai", key = "GEMINI_API_KEY", host = "generativelanguage.googleapis.com" },
  { name = "anthropic", adapter = "anthropic", key = "ANTHROPIC_API_KEY", host = "api.anthropic.com" },
}

-- adapters of a dialect rather than of a vendor: there the address tells who it is
local ANYBODYS = { openai = true, openai_chat = true, openai_responses = true, anthropic = true, gemini = true }

local function provider(host, refs, vendor)
  local function set(name)
    return name and host.has_env(name)
  end
  if not set(vendor.key) and not set(vendor.base) then
    return nil
  end
  return {
    adapter = vendor.adapter,
    api_key = refs.env(vendor.key, false),
    base_url = set(vendor.base) and refs.env(vendor.base) or nil,
    organization = vendor.organization and refs.env(vendor.organization, false),
    project = vendor.project and refs.env(vendor.project, false),
  }
end

local function host_of(url)
  return (url:lower():match("^https?://([^/:]+)"))
end

--- Whose prices a provider has when the catalogue does not know its name; nil when nobody can tell. An adapter of one
--- vendor tells; those of a dialect are spoken by many, so there the address does.
function vendors.of(provider)
  if provider.kind ~= "http" then
    return nil
  end
  local host = ANYBODYS[provider.adapter] and provider.base_url and host_of(provider.base_url)
  for _, vendor in ipairs(vendors.list) do
    if host == vendor.host or not host and provider.adapter == vendor.adapter then
      return vendor.name
    end
  end
  return not host and provider.adapter or nil
end

--- What a project file would return, or nil when no variable is set.
function vendors.project(host, refs)
  local providers, first = {}, nil
  for _, vendor in ipairs(vendors.list) do
    providers[vendor.name] = provider(host, refs, vendor)
    first = first or providers[vendor.name] and vendor.name
  end
  return first and { providers = providers, workflows = { ["*"] = first .. "/*" }, allow_direct = true }
end

return vendors
