--- vendors.lua - the OpenAI-compatible providers that make the default project when the environment has their key; and who
--- a provider is, whatever it is called.
---
--- The first whose key is set answers any model name; all of them answer "name/model".
local vendors = {}

vendors.list = {
  { name = "openai", key = "OPENAI_API_KEY", base = "OPENAI_BASE_URL",
    organization = "OPENAI_ORG_ID", project = "OPENAI_PROJECT_ID", home = "https://api.openai.com/v1" },
  { name = "openrouter", key = "OPENROUTER_API_KEY", base_url = "https://openrouter.ai/api/v1" },
  { name = "groq", key = "GROQ_API_KEY", base_url = "https://api.groq.com/openai/v1" },
  { name = "mistral", key = "MISTRAL_API_KEY", base_url = "https://api.mistral.ai/v1" },
  { name = "deepseek", key = "DEEPSEEK_API_KEY", base_url = "https://api.deepseek.com/v1" },
  { name = "xai", key = "XAI_API_KEY", base_url = "https://api.x.ai/v1" },
  { name = "together", key = "TOGETHER_API_KEY", base_url = "https://api.together.xyz/v1" },
  { name = "fireworks", key = "FIREWORKS_API_KEY", base_url = "https://api.fireworks.ai/inference/v1" },
  { name = "gemini", key = "GEMINI_API_KEY", base_url = "https://generativelanguage.googleapis.com/v1beta/openai" },
}

local function provider(host, refs, vendor)
  local function set(name)
    return name and host.has_env(name)
  end
  if not set(vendor.key) and not set(vendor.base) then
    return nil
  end
  return {
    api_key = refs.env(vendor.key, false),
    base_url = set(vendor.base) and refs.env(vendor.base) or vendor.base_url,
    organization = vendor.organization and refs.env(vendor.organization, false),
    project = vendor.project and refs.env(vendor.project, false),
  }
end

local function host_of(url)
  return (url:lower():match("^https?://([^/:]+)"))
end

--- Whose prices a provider has when the catalogue does not know its name; nil when nobody can tell. An adapter of one
--- vendor tells; that of OpenAI is spoken by many, so there the address does.
function vendors.of(provider)
  if provider.kind ~= "http" then
    return nil
  elseif provider.adapter ~= "openai" or not provider.base_url then
    return provider.adapter
  end
  local host = host_of(provider.base_url)
  for _, vendor in ipairs(vendors.list) do
    if host == host_of(vendor.base_url or vendor.home) then
      return vendor.name
    end
  end
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
