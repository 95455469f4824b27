--- nvidia.lua - NVIDIA NIM, as its vendor hosts it; a NIM of one's own has another base URL.
return {
  name = "nvidia",
  extends = "openai_chat",
  base_url = "https://integrate.api.nvidia.com/v1",
}
